// The start page: says how this node is reached and whether it answers.

import { connectionAdvice, insecurePageAdvice } from "./advice.js";
import { askBalancer, sameServer } from "./balancer.js";
import { Session } from "./distributary.js";
import { byId, ownServerUrl, setInfo, setStatus } from "./page.js";

const url = ownServerUrl();
byId("nodeUrl").textContent = url;

const hidden = insecurePageAdvice();
if (hidden) {
  byId("notice").hidden = false;
  setInfo(byId("notice"), "", hidden);
}

checkSignaling();
checkBalancer();

async function checkSignaling() {
  const session = new Session(url);
  const established = await session.open();
  setStatus(byId("nodeStatus"), established ? "ESTABLISHED" : "FAILED");
  if (!established) {
    setInfo(byId("nodeInfo"), session.info, connectionAdvice(url, session.info));
  }
  session.close();
}

async function checkBalancer() {
  try {
    const named = await askBalancer(url, "");
    byId("nodeBalancer").textContent = sameServer(named, url)
      ? "names this node itself"
      : `sends viewers to ${named}`;
  } catch (error) {
    byId("nodeBalancer").textContent = error.message;
  }
}
