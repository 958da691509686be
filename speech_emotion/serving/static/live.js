/** Record, and Live: the emotion while somebody speaks. Both end in a recording that is classified like a file. */
import { Chart, WHAT_IS_UNCERTAIN, clock, dot, inWords, isUncertain } from "./chart.js";
import { add, model, say, ticked, timeOfDay } from "./page.js";
import { settings, ui } from "./settings.js";

const SHOWN_S = 60;
const PIECES = 10; // of sound from the microphone, per second
const PEAKS = 20; // of the waveform, per second
const HELD_S = 1; // for which the last emotion stays on display
const MOST_HZ = 48000;
const NO_MICROPHONE =
    "There is no microphone, or this page may not use it: browsers allow it only on HTTPS pages and on localhost.";

/** The microphone without the processing of browsers for calls, which would change the voice. */
function microphone() {
    const audio = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    if (!navigator.mediaDevices) throw new DOMException(NO_MICROPHONE);
    return navigator.mediaDevices.getUserMedia({ audio });
}

/** While a button is pressed, it stops what it started, and the rest of the page makes room. */
function press(button, isPressed) {
    button.ariaPressed = String(isPressed);
    button.querySelector("b").textContent = isPressed ? "Stop" : { record: "Record", live: "Live" }[button.id];
    document.body.dataset.mode = isPressed ? button.id : "";
    ui.recording.hidden = ui.record.ariaPressed !== "true";
    ui.now.hidden = ui.live.ariaPressed !== "true";
}

/** A live recording and its rows, from the press of the button until it is pressed again or the server ends it. */
class LiveRecording {
    #pieces = []; // Int16Array
    #peaks = [];
    #heard = { heard: 0, timeline: [] };
    #over = false;
    #labels = ticked();
    #chart = new Chart(this.#labels);

    static async begin() {
        const recording = new LiveRecording();
        try {
            await recording.#listen();
        } catch (error) {
            recording.#leave();
            throw error;
        }
        return recording;
    }

    /** Duration so far, in seconds. */
    get seconds() {
        return this.#peaks.length / PEAKS;
    }

    async #listen() {
        this.stream = await microphone();
        this.context = new AudioContext();
        if (this.context.sampleRate > MOST_HZ) {
            this.context.close();
            this.context = new AudioContext({ sampleRate: MOST_HZ });
        }
        this.rate = this.context.sampleRate;
        await this.context.audioWorklet.addModule("static/microphone.js");
        this.socket = new WebSocket(new URL("live", location.href.replace(/^http/, "ws")));
        this.socket.addEventListener("message", ({ data }) => this.#answer(JSON.parse(data)));
        await new Promise((resolve, reject) => {
            this.socket.addEventListener("open", resolve);
            this.socket.addEventListener("close", reject);
        });
        this.socket.addEventListener("close", () => this.stop());
        const adapt = ui.own.checked && !ui.own.disabled;
        this.say({ sample_rate: this.rate, model: model().name, emotions: this.#labels, adapt, token: ui.token.value });
        const node = new AudioWorkletNode(this.context, "microphone", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
        node.port.addEventListener("message", ({ data }) => this.#add(data));
        node.port.start();
        this.context.createMediaStreamSource(this.stream).connect(node);
        ui.scroll.replaceChildren(this.#chart.element);
    }

    say(message) {
        if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
    }

    #add(samples) {
        const piece = Int16Array.from(samples, (sample) => Math.round(32767 * Math.max(-1, Math.min(1, sample))));
        this.#pieces.push(piece);
        const length = Math.ceil(samples.length * PIECES / PEAKS);
        for (let start = 0; start < samples.length; start += length) {
            this.#peaks.push(samples.slice(start, start + length).reduce((most, sample) => Math.max(most, Math.abs(sample)), 0));
        }
        if (this.socket.readyState === WebSocket.OPEN) this.socket.send(piece);
        const peaks = this.#peaks.slice(-SHOWN_S * PEAKS);
        const to = this.seconds;
        this.#chart.draw({ stretches: this.#heard.timeline, peaks, begin: to - peaks.length / PEAKS, from: to - SHOWN_S, to });
    }

    #answer(message) {
        if (message.detail) {
            this.refusal = message.detail;
            return;
        }
        this.#heard = message;
        if (!message.provisional) {
            this.stop();
            return;
        }
        const last = message.timeline.at(-1);
        const speaks = Boolean(last) && (!last.ended || message.heard - last.end < HELD_S);
        ui.current.replaceChildren(...speaks ? [dot(last.emotion), inWords(last, this.#labels, "uncertain")] : ["…"]);
        ui.current.classList.toggle("unsure", speaks && isUncertain(last, this.#labels));
        this.#chart.show(speaks ? last : null);
        ui.behind.textContent = `${Math.max(0, this.seconds - message.heard).toFixed(1)} s behind${message.adapted ? ", adapted to this voice" : ""}`;
    }

    #leave() {
        this.#over = true;
        this.stream?.getTracks().forEach((track) => track.stop());
        this.context?.close();
        this.socket?.close();
    }

    /** End the recording, and classify the whole of it like a dropped file. */
    stop() {
        if (this.#over) return;
        this.#leave();
        running = null;
        press(ui.live, false);
        if (this.refusal) say(this.refusal, true);
        else if (this.#pieces.length) add([new File(this.#wave(), `live ${timeOfDay()}.wav`, { type: "audio/wav" })]);
    }

    /** The parts of a WAV file, cut to the longest duration that the server accepts. */
    #wave() {
        const most = 2 * Math.round(60 * settings.minutes * this.rate);
        const sound = new Blob(this.#pieces).slice(0, most);
        const header = new DataView(new ArrayBuffer(44));
        const text = (at, letters) => [...letters].forEach((letter, i) => header.setUint8(at + i, letter.charCodeAt(0)));
        text(0, "RIFF");
        header.setUint32(4, 36 + sound.size, true);
        text(8, "WAVEfmt ");
        header.setUint32(16, 16, true);
        header.setUint16(20, 1, true); // PCM
        header.setUint16(22, 1, true); // channel
        header.setUint32(24, this.rate, true);
        header.setUint32(28, 2 * this.rate, true);
        header.setUint16(32, 2, true);
        header.setUint16(34, 16, true);
        text(36, "data");
        header.setUint32(40, sound.size, true);
        return [header, sound];
    }
}

let running = null;
ui.unsure.textContent = `Uncertain: ${WHAT_IS_UNCERTAIN}.`;
ui.live.addEventListener("click", async () => {
    if (running) {
        running.stop();
        return;
    }
    ui.live.disabled = true;
    try {
        ui.current.replaceChildren("…");
        ui.behind.textContent = "";
        ui.own.disabled = !model().adapts;
        running = await LiveRecording.begin();
        press(ui.live, true);
    } catch (error) {
        say(error instanceof DOMException ? NO_MICROPHONE : "The server does not accept a live recording now.", true);
    }
    ui.live.disabled = false;
    ui.live.focus();
});
ui.own.addEventListener("change", () => running?.say({ adapt: ui.own.checked }));
ui.forget.addEventListener("click", () => running?.say({ forget: true }));

/** Show the time and the level of the microphone, until the returned function is called. */
function watch(stream) {
    const context = new AudioContext();
    const analyser = new AnalyserNode(context, { fftSize: 8192 });
    context.createMediaStreamSource(stream).connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    const began = performance.now();
    const show = () => {
        analyser.getFloatTimeDomainData(samples);
        const peak = samples.reduce((highest, sample) => Math.max(highest, Math.abs(sample)), 1e-3);
        ui.level.value = 1 + Math.log10(peak) / 3; // from -60 dB to full scale
        ui.time.textContent = clock((performance.now() - began) / 1000);
    };
    const timer = setInterval(show, 100);
    show();
    return () => {
        clearInterval(timer);
        context.close();
    };
}

let recorder = null;
ui.record.addEventListener("click", async () => {
    if (recorder) {
        recorder.stop();
        return;
    }
    try {
        const stream = await microphone();
        recorder = new MediaRecorder(stream, { audioBitsPerSecond: 256000 });
        const parts = [];
        const unwatch = watch(stream);
        recorder.addEventListener("dataavailable", (event) => parts.push(event.data));
        recorder.addEventListener("stop", () => {
            unwatch();
            stream.getTracks().forEach((track) => track.stop());
            const { mimeType } = recorder;
            recorder = null;
            press(ui.record, false);
            add([new File(parts, `recording ${timeOfDay()}.${mimeType.match(/\w+\/(\w+)/)[1]}`, { type: mimeType })]);
        });
        recorder.start();
        press(ui.record, true);
    } catch {
        say(NO_MICROPHONE, true);
    }
});
