// The proof of media, against media of a tab's own: it must see what is there and what is not.

import assert from 'node:assert/strict';
import http from 'node:http';
import { after, before, test } from 'node:test';

import { startChromium } from './chromium.mjs';
import { startFirefox } from './firefox.mjs';
import { proveMedia } from './proof.mjs';

const PAGE = '<!doctype html><title>Proof</title><div id="there"><video autoplay></video></div>';
const TIMEOUT_MS = 60_000;

const starts = { chromium: () => startChromium({ loopback: true }), firefox: startFirefox };
const server = http.createServer((_, response) => {
  response.setHeader('content-type', 'text/html');
  response.end(PAGE);
});

before(() => new Promise((resolve) => server.listen(0, '127.0.0.1', resolve)));
after(() => server.close());

for (const [name, start] of Object.entries(starts)) {
  test(`the proof in ${name}`, { timeout: TIMEOUT_MS }, async (context) => {
    const browser = await start();
    context.after(() => browser.close());
    const prove = async (defect) => {
      const page = await browser.open(`http://localhost:${server.address().port}/`, () => {});
      try {
        await page.evaluate(callOneself, defect);
        return await proveMedia(page, { display: '#there', codec: 'VP8', seconds: 1 });
      } finally {
        await page.close();
      }
    };
    context.diagnostic(await prove('none'));
    await assert.rejects(prove('still picture'), /stands still/);
    await assert.rejects(prove('silence'), /silence/);
    await assert.rejects(prove('no sound'), /no audio packet/);
    await assert.rejects(prove('two streams'), /tracks of the MediaStream/);
    await assert.rejects(prove('another codec'), /wrong codec/);
    await assert.rejects(prove('no picture'), /first decoded frame|stands still/);
  });
}

// A call from the tab to itself, VP8 and Opus, good but for one defect.
async function callOneself(defect) {
  const media = await navigator.mediaDevices.getUserMedia({ audio: true, video: true });
  const [audio] = media.getAudioTracks();
  let [video] = media.getVideoTracks();
  if (defect === 'silence') audio.enabled = false;
  if (defect === 'still picture') {
    const canvas = document.createElement('canvas');
    const context = canvas.getContext('2d');
    setInterval(() => context.fillRect(0, 0, canvas.width, canvas.height), 30);
    [video] = canvas.captureStream(30).getVideoTracks();
  }

  const sender = new RTCPeerConnection();
  const receiver = new RTCPeerConnection();
  sender.onicecandidate = ({ candidate }) => receiver.addIceCandidate(candidate);
  receiver.onicecandidate = ({ candidate }) => sender.addIceCandidate(candidate);
  sender.addTrack(audio, media);
  sender.addTrack(video, defect === 'two streams' ? new MediaStream() : media);
  const wanted = defect === 'another codec' ? 'video/VP9' : 'video/VP8';
  const codecs = RTCRtpReceiver.getCapabilities('video').codecs;
  const preferred = codecs.filter(({ mimeType }) => mimeType === wanted);
  sender.getTransceivers()[1].setCodecPreferences(preferred);

  const shown = document.querySelector('video');
  receiver.ontrack = ({ streams, track }) => {
    if (track.kind === 'video') [shown.srcObject] = streams;
  };
  await sender.setLocalDescription();
  await receiver.setRemoteDescription(sender.localDescription);
  await receiver.setLocalDescription();
  await sender.setRemoteDescription(receiver.localDescription);
  if (defect === 'no sound') await sender.getSenders()[0].replaceTrack(null);
  if (defect === 'no picture') await sender.getSenders()[1].replaceTrack(null);
}
