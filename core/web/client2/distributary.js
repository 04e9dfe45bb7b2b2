// The browser's side of the signaling dialogue: JSON over a WebSocket, WebRTC beside it.
//
//   const session = new Session("wss://origin.example:8443");
//   if (await session.open()) {
//     const publishing = session.publish("cam", await navigator.mediaDevices.getUserMedia(wish));
//     publishing.addEventListener("status", () => console.log(publishing.status));
//     const playing = session.play("cam");
//     video.srcObject = playing.media;
//   }
//
// This side always offers and the server always answers, once, with all of its candidates: there
// is no trickle and no renegotiation. Every wait has a deadline, so nothing stays pending.

/** Time for the socket to open and the server to greet. */
const CONNECT_TIMEOUT_MS = 10_000;
/** Time from offer to PUBLISHING or PLAYING; the server gives up on ICE after some 15 s. */
const START_TIMEOUT_MS = 30_000;
/** Time for the server to confirm a stop. */
const STOP_TIMEOUT_MS = 5_000;
/** Time for the server to say whether a stream is there. */
const AVAILABLE_TIMEOUT_MS = 5_000;
/** Time between two of our pings; they keep idle paths through NATs and proxies open. */
const PING_INTERVAL_MS = 5_000;
/** A server that answered pings before and says nothing for so long is gone. */
const SILENCE_TIMEOUT_MS = 30_000;

export const NO_ANSWER = "No answer from the server";
export const CONNECTION_LOST = "Connection to the server lost";
export const CONNECTION_FAILED = "Connection failed";

const ENDED = new Set(["FAILED", "STOPPED", "UNPUBLISHED"]);

/**
 * One signaling connection, which carries any number of streams.
 *
 * `status` is PENDING, CONNECTED, ESTABLISHED, DISCONNECTED or FAILED; each change is a `status`
 * event. `info` says why, once the session has ended.
 */
export class Session extends EventTarget {
  status = "PENDING";
  info = "";
  #socket = null;
  #streams = new Map();
  #questions = new Map();
  #deadline = 0;
  #pings = 0;
  #heardAt = 0;
  #answersPings = false;
  #opened = withResolvers();

  constructor(url, { appKey = "defaultApp" } = {}) {
    super();
    this.url = url;
    this.appKey = appKey;
  }

  /** Connects; resolves to whether the session became ESTABLISHED, and never rejects. */
  open() {
    try {
      this.#socket = new WebSocket(this.url);
    } catch (error) {
      this.#end("FAILED", error.message);
      return this.#opened.promise;
    }
    this.#deadline = setTimeout(() => this.#end("FAILED", NO_ANSWER), CONNECT_TIMEOUT_MS);
    this.#socket.onopen = () => this.#greet();
    this.#socket.onmessage = ({ data }) => this.#receive(data);
    this.#socket.onerror = () => {
      const established = this.status === "ESTABLISHED";
      this.#end("FAILED", established ? CONNECTION_LOST : CONNECTION_FAILED);
    };
    this.#socket.onclose = () => this.#end("DISCONNECTED", CONNECTION_LOST);
    return this.#opened.promise;
  }

  /** Disconnects; streams of this session end with it. */
  close() {
    this.#end("DISCONNECTED", "");
  }

  /** Publishes the tracks of `media` (a MediaStream) as `name`. */
  publish(name, media) {
    return this.#start(new Stream(this, this.#wire(), { name, publishes: true, media }));
  }

  /** Plays `name`; `width` and `height` are a wish that a server may ignore. */
  play(name, { width = 0, height = 0 } = {}) {
    const media = new MediaStream();
    const options = { name, publishes: false, media, width, height };
    return this.#start(new Stream(this, this.#wire(), options));
  }

  /** Asks whether `name` can be played: resolves to `{available, info}`. */
  available(name) {
    const mediaSessionId = uuid();
    const { promise, resolve } = withResolvers();
    const deadline = setTimeout(
      () => this.#answer(mediaSessionId, { available: false, info: NO_ANSWER }),
      AVAILABLE_TIMEOUT_MS,
    );
    this.#questions.set(mediaSessionId, { resolve, deadline });
    if (!this.#send("availableStream", { mediaSessionId, name })) {
      this.#answer(mediaSessionId, { available: false, info: CONNECTION_LOST });
    }
    return promise;
  }

  #wire() {
    return {
      send: (message, data) => this.#send(message, data),
      forget: (id) => this.#streams.delete(id),
    };
  }

  #start(stream) {
    this.#streams.set(stream.id, stream);
    stream.start();
    return stream;
  }

  #greet() {
    this.#become("CONNECTED");
    this.#heardAt = performance.now();
    this.#send("connection", {
      appKey: this.appKey,
      mediaProviders: ["WebRTC"],
      clientVersion: "2.0",
      clientOSVersion: navigator.appVersion,
      clientBrowserVersion: navigator.userAgent,
    });
    this.#pings = setInterval(() => this.#ping(), PING_INTERVAL_MS);
  }

  #ping() {
    const silence = performance.now() - this.#heardAt;
    if (this.#answersPings && silence > SILENCE_TIMEOUT_MS) {
      this.#end("FAILED", CONNECTION_LOST);
      return;
    }
    this.#send("ping", null);
  }

  #send(message, data) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify({ message, data: [data] }));
    return true;
  }

  #receive(text) {
    this.#heardAt = performance.now();
    const { message, data } = parse(text);
    const [first, second] = Array.isArray(data) ? data : [];
    switch (message) {
      case "ping":
        this.#answersPings = true;
        this.#send("pong", null);
        break;
      case "pong":
        this.#answersPings = true;
        break;
      case "getUserData":
        this.#establish();
        break;
      case "setRemoteSDP":
        this.#streams.get(first)?.receiveAnswer(String(second));
        break;
      case "notifyStreamStatusEvent":
        this.#streams.get(first?.mediaSessionId)?.receiveStatus(first);
        break;
      case "notifyStreamEvent":
        this.#streams.get(first?.mediaSessionId)?.receiveEvent(first);
        break;
      case "availableStream":
        this.#answer(first?.id, { available: first?.status === "true", info: first?.info ?? "" });
        break;
      default: // Servers may say more than this page needs.
    }
  }

  #establish() {
    if (this.status !== "CONNECTED") return;
    clearTimeout(this.#deadline);
    this.#become("ESTABLISHED");
    this.#opened.resolve(true);
  }

  #answer(id, answer) {
    const question = this.#questions.get(id);
    if (!question) return;
    clearTimeout(question.deadline);
    this.#questions.delete(id);
    question.resolve(answer);
  }

  #become(status) {
    this.status = status;
    this.dispatchEvent(new Event("status"));
  }

  #end(status, info) {
    if (this.status === "DISCONNECTED" || this.status === "FAILED") return;
    clearTimeout(this.#deadline);
    clearInterval(this.#pings);
    this.info = info;
    this.#become(status);
    this.#opened.resolve(false);
    for (const stream of [...this.#streams.values()]) stream.lose(info || "Disconnected");
    for (const id of [...this.#questions.keys()]) {
      this.#answer(id, { available: false, info: CONNECTION_LOST });
    }
    this.#socket?.close();
  }
}

/**
 * One stream of a session, published or played.
 *
 * `status` is PENDING, then PUBLISHING or PLAYING, and ends as UNPUBLISHED, STOPPED or FAILED;
 * each change is a `status` event, and `info` says why. What the publisher sends beside the media
 * (data, mute) arrives as an `event` event with the server's object in `detail`. A `path` event
 * tells that `peerConnection.connectionState` changed.
 */
export class Stream extends EventTarget {
  id = uuid();
  status = "PENDING";
  info = "";
  peerConnection = new RTCPeerConnection();
  #wire;
  #size;
  #deadline = 0;
  #stopping = false;

  constructor(session, wire, { name, publishes, media, width, height }) {
    super();
    this.session = session;
    this.name = name;
    this.publishes = publishes;
    this.media = media;
    this.#wire = wire;
    this.#size = { width, height };
    this.peerConnection.ontrack = ({ track }) => media.addTrack(track);
    this.peerConnection.onconnectionstatechange = () => this.dispatchEvent(new Event("path"));
  }

  get ended() {
    return ENDED.has(this.status);
  }

  /** Sends the offer; the session calls this once. */
  async start() {
    this.#deadline = setTimeout(() => this.#giveUp(NO_ANSWER), START_TIMEOUT_MS);
    try {
      this.#addTransceivers();
      const offer = await this.peerConnection.createOffer();
      if (this.ended) return;
      await this.peerConnection.setLocalDescription(offer);
      if (this.ended) return;
      if (!this.#wire.send(...this.#request(offer.sdp))) this.lose(CONNECTION_LOST);
    } catch (error) {
      this.#end("FAILED", `Local error: ${error.message}`);
    }
  }

  /** Ends the stream; UNPUBLISHED or STOPPED follows, at the latest after STOP_TIMEOUT_MS. */
  stop() {
    if (this.ended || this.#stopping) return;
    this.#stopping = true;
    clearTimeout(this.#deadline);
    this.peerConnection.close();
    const over = this.publishes ? "UNPUBLISHED" : "STOPPED";
    if (!this.#sendStop()) {
      this.#end(over, CONNECTION_LOST);
      return;
    }
    this.#deadline = setTimeout(() => this.#end(over, NO_ANSWER), STOP_TIMEOUT_MS);
  }

  /** Sends any JSON value to every viewer; true if it left this page. */
  sendData(payload) {
    return this.#sendEvent({ type: "data", payload });
  }

  /** Silences ("audio") or blackens ("video") what is published, and tells the viewers. */
  mute(kind, muted) {
    for (const track of this.media.getTracks()) {
      if (track.kind === kind) track.enabled = !muted;
    }
    return this.#sendEvent({ type: `${kind}${muted ? "Muted" : "Unmuted"}` });
  }

  /** Takes the server's SDP answer. */
  async receiveAnswer(sdp) {
    if (this.ended || this.peerConnection.signalingState !== "have-local-offer") return;
    try {
      await this.peerConnection.setRemoteDescription({ type: "answer", sdp });
    } catch (error) {
      if (this.#stopping) return;
      this.#giveUp(`The browser refused the server's answer: ${error.message}`);
    }
  }

  /** Takes a status event of the server. */
  receiveStatus({ status, info, audioState, videoState }) {
    if (typeof status !== "string" || status === this.status) return;
    if (ENDED.has(status)) {
      this.#end(status, info ?? "");
      return;
    }
    if (this.#stopping || (status !== "PUBLISHING" && status !== "PLAYING")) return;
    clearTimeout(this.#deadline);
    this.#become(status, info ?? "");
    if (audioState?.muted) this.receiveEvent({ type: "audioMuted" });
    if (videoState?.muted) this.receiveEvent({ type: "videoMuted" });
  }

  /** Takes a stream event of the server. */
  receiveEvent(detail) {
    this.dispatchEvent(new CustomEvent("event", { detail }));
  }

  /** Ends the stream because its session ended. */
  lose(info) {
    this.#end("FAILED", info);
  }

  #addTransceivers() {
    if (!this.publishes) {
      this.peerConnection.addTransceiver("audio", { direction: "recvonly" });
      this.peerConnection.addTransceiver("video", { direction: "recvonly" });
      return;
    }
    for (const track of this.media.getTracks()) {
      this.peerConnection.addTransceiver(track, { direction: "sendonly", streams: [this.media] });
    }
  }

  #request(sdp) {
    const limits = { bitrate: 0, minBitrate: 0, maxBitrate: 0 };
    const request = { ...this.#description(), mediaProvider: "WebRTC", sdp, ...limits };
    if (this.publishes) return ["publishStream", request];
    return ["playStream", { ...request, ...this.#size, quality: 0 }];
  }

  #description() {
    return {
      mediaSessionId: this.id,
      name: this.name,
      published: this.publishes,
      hasVideo: !this.publishes || this.media.getVideoTracks().length > 0,
      hasAudio: !this.publishes || this.media.getAudioTracks().length > 0,
      status: this.status,
      record: false,
    };
  }

  #sendStop() {
    const message = this.publishes ? "unPublishStream" : "stopStream";
    return this.#wire.send(message, this.#description());
  }

  #sendEvent(event) {
    if (this.status !== "PUBLISHING") return false;
    return this.#wire.send("sendStreamEvent", { mediaSessionId: this.id, ...event });
  }

  // The server may still hold what this side gives up on.
  #giveUp(info) {
    this.#sendStop();
    this.#end("FAILED", info);
  }

  #become(status, info) {
    this.status = status;
    this.info = info;
    this.dispatchEvent(new Event("status"));
  }

  #end(status, info) {
    if (this.ended) return;
    clearTimeout(this.#deadline);
    this.peerConnection.close();
    this.#wire.forget(this.id);
    this.#become(status, info);
  }
}

function parse(text) {
  try {
    return JSON.parse(text) ?? {};
  } catch {
    return {};
  }
}

function withResolvers() {
  let resolve;
  const promise = new Promise((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}

// crypto.randomUUID is hidden on plain http; getRandomValues is not.
function uuid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}
