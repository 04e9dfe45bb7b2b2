// Embed player: tries the player out and writes the code that embeds it elsewhere.

import { byId, ownServerUrl, setInfo } from "../../../../page.js";

const given = new URLSearchParams(location.search);
byId("urlServer").value = given.get("urlServer") ?? ownServerUrl();
byId("streamName").value = given.get("streamName") ?? "";
writeCode();

byId("testForm").addEventListener("input", writeCode);
byId("testForm").addEventListener("submit", (event) => {
  event.preventDefault();
  byId("player").src = playerUrl().href;
  byId("player").hidden = false;
});

byId("copyBtn").addEventListener("click", async () => {
  const code = byId("embedCode");
  try {
    await navigator.clipboard.writeText(code.value);
    setInfo(byId("copyInfo"), "Copied");
  } catch {
    // Browsers hide the clipboard on plain http; the selection is one key press away from it.
    code.focus();
    code.select();
    setInfo(byId("copyInfo"), "Selected: copy it with your keyboard or the menu");
  }
});

function playerUrl() {
  const url = new URL("player.html", location.href);
  url.search = new URLSearchParams({
    urlServer: byId("urlServer").value.trim(),
    streamName: byId("streamName").value.trim(),
    mediaProviders: "WebRTC",
    autoplay: "false",
  });
  return url;
}

function writeCode() {
  const frame = document.createElement("iframe");
  frame.src = playerUrl().href;
  frame.width = "640";
  frame.height = "480";
  frame.title = "Player";
  frame.allow = "autoplay; fullscreen";
  byId("embedCode").value = frame.outerHTML;
  setInfo(byId("copyInfo"));
}
