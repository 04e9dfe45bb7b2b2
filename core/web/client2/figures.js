// Live figures of one stream, from getStats, once a second.

/** What is shown, in order: key, label, and whether publisher or viewer has it. */
const ROWS = [
  ["bitrate", "Bitrate"],
  ["frameRate", "Frame rate"],
  ["resolution", "Resolution"],
  ["loss", "Packet loss"],
  ["roundTrip", "Round trip"],
  ["jitterBuffer", "Jitter buffer", "viewer"],
  ["limitedBy", "Limited by", "publisher"],
  ["codec", "Codec"],
];
const INTERVAL_MS = 1_000;
const NONE = "–";

/**
 * Fills `list`, a `dl`, with the figures of the stream that `current()` returns, once a second;
 * dashes while that is null.
 */
export function showFigures(list, side, current) {
  const cells = new Map();
  for (const [key, label, only] of ROWS) {
    if (only && only !== side) continue;
    const [row, term, value] = ["div", "dt", "dd"].map((tag) => document.createElement(tag));
    term.textContent = label;
    value.textContent = NONE;
    value.dataset.figure = key;
    row.append(term, value);
    list.append(row);
    cells.set(key, value);
  }
  let before = null;
  setInterval(async () => {
    const stream = current();
    const now = stream ? await sample(stream) : null;
    const figures = now ? compare(before?.stream === now.stream ? before : null, now) : {};
    before = now;
    for (const [key, cell] of cells) cell.textContent = figures[key] ?? NONE;
  }, INTERVAL_MS);
}

/** The counters of one moment, summed over audio and video; null if the stream is over. */
async function sample(stream) {
  let report;
  try {
    report = [...(await stream.peerConnection.getStats()).values()];
  } catch {
    return null;
  }
  const of = (type) => report.filter((entry) => entry.type === type);
  const rtp = of(stream.publishes ? "outbound-rtp" : "inbound-rtp");
  const reception = stream.publishes ? of("remote-inbound-rtp") : rtp;
  const names = new Map(of("codec").map(({ id, mimeType }) => [id, mimeType.split("/")[1]]));
  return {
    stream,
    at: performance.now(),
    bytes: sum(rtp, stream.publishes ? "bytesSent" : "bytesReceived"),
    packets: sum(rtp, stream.publishes ? "packetsSent" : "packetsReceived"),
    lost: sum(reception, "packetsLost"),
    buffered: sum(rtp, "jitterBufferDelay"),
    emitted: sum(rtp, "jitterBufferEmittedCount"),
    codecs: rtp.map(({ codecId }) => names.get(codecId)).filter(Boolean),
    video: rtp.find(({ kind }) => kind === "video"),
    roundTrip: roundTrip(of("candidate-pair"), of("remote-inbound-rtp")),
  };
}

function roundTrip(pairs, reception) {
  const pair = pairs.find(({ nominated, state }) => nominated && state === "succeeded");
  return pair?.currentRoundTripTime ?? reception.find((r) => r.roundTripTime)?.roundTripTime;
}

/** The figures as texts; those that need two moments are left out in the first. */
function compare(before, now) {
  const { video } = now;
  const figures = {
    resolution: video?.frameWidth ? `${video.frameWidth}×${video.frameHeight}` : undefined,
    frameRate: video?.framesPerSecond ? `${Math.round(video.framesPerSecond)}/s` : undefined,
    roundTrip: milliseconds(now.roundTrip),
    limitedBy: video?.qualityLimitationReason,
    codec: now.codecs.join(", ") || undefined,
  };
  if (!before) return figures;
  const lost = Math.max(0, now.lost - before.lost);
  // A publisher counts what it sent, lost or not; a viewer only what arrived.
  const arrived = Math.max(0, now.packets - before.packets);
  const expected = now.stream.publishes ? arrived : arrived + lost;
  const emitted = now.emitted - before.emitted;
  figures.bitrate = bitrate(((now.bytes - before.bytes) * 8) / (now.at - before.at));
  if (expected > 0) figures.loss = `${Math.min(100, (100 * lost) / expected).toFixed(1)} %`;
  if (emitted > 0) figures.jitterBuffer = milliseconds((now.buffered - before.buffered) / emitted);
  return figures;
}

function sum(entries, key) {
  return entries.reduce((total, entry) => total + (entry[key] ?? 0), 0);
}

function milliseconds(seconds) {
  return seconds === undefined ? undefined : `${Math.round(seconds * 1_000)} ms`;
}

function bitrate(kilobits) {
  if (kilobits < 1_000) return `${Math.round(kilobits)} kbit/s`;
  return `${(kilobits / 1_000).toFixed(2)} Mbit/s`;
}
