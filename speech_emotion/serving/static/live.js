"use strict";
const SHOWN_S = 60;
const PIECES = 10; // of sound from the microphone, per second
const PEAKS = 20; // of the waveform, per second
const HELD_S = 1; // for which the last emotion stays on display
const MOST_HZ = 48000;
const [live, now, current, behind, scroll, own, forget] =
    ["live", "now", "current", "behind", "scroll", "own", "forget"].map((id) => document.getElementById(id));
const colours = JSON.parse(scroll.dataset.colours);
const percent = (share) => `${Math.round(100 * share)}%`;

/** A live recording and its rows, from the press of the button until it is pressed again or the server ends it. */
class Recording {
    static async begin() {
        const recording = new Recording();
        try {
            await recording.#listen();
        } catch (error) {
            recording.#leave();
            throw error;
        }
        return recording;
    }

    #pieces = []; // Int16Array
    #peaks = [];
    #heard = { heard: 0, timeline: [] };
    #over = false;

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
        const token = document.getElementById("token").value;
        const emotions = ticked().map((box) => box.value);
        this.say({ sample_rate: this.rate, model: model().value, emotions, adapt: own.checked && !own.disabled, token });
        const node = new AudioWorkletNode(this.context, "microphone", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
        node.port.addEventListener("message", ({ data }) => this.#add(data));
        node.port.start();
        this.context.createMediaStreamSource(this.stream).connect(node);
        const draw = () => {
            if (this.#over) return;
            this.#draw();
            requestAnimationFrame(draw);
        };
        draw();
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
        const speaks = last && (!last.ended || message.heard - last.end < HELD_S);
        current.textContent = speaks ? `${last.emotion} ${percent(last.confidence)}` : "…";
        current.style.setProperty("--emotion", speaks ? colours[last.emotion] ?? "currentColor" : "transparent");
        behind.textContent = `${Math.max(0, this.seconds - message.heard).toFixed(1)} s behind${message.adapted ? ", adapted to this voice" : ""}`;
    }

    /** Draw the last minute: the waveform, with the emotions below it. */
    #draw() {
        const scale = devicePixelRatio;
        [scroll.width, scroll.height] = [scroll.clientWidth * scale, scroll.clientHeight * scale];
        const paint = scroll.getContext("2d");
        paint.scale(scale, scale);
        const [width, height] = [scroll.clientWidth, scroll.clientHeight];
        const wave = height - 44;
        const x = (seconds) => width * (1 - (this.seconds - seconds) / SHOWN_S);
        const ink = getComputedStyle(scroll).color;
        paint.fillStyle = getComputedStyle(scroll).getPropertyValue("--bar");
        this.#peaks.slice(-SHOWN_S * PEAKS).forEach((peak, i, shown) => {
            const size = Math.max(1, peak * wave);
            paint.fillRect(x(this.seconds - (shown.length - i) / PEAKS), (wave - size) / 2, width / SHOWN_S / PEAKS, size);
        });
        paint.font = getComputedStyle(scroll).font;
        for (const { start, end, emotion, ended } of this.#heard.timeline) {
            paint.globalAlpha = ended === false ? 0.6 : 1;
            paint.fillStyle = colours[emotion] ?? ink;
            paint.fillRect(x(start), wave + 4, Math.max(1, x(end) - x(start) - 1), 18);
            paint.fillStyle = ink;
            paint.fillText(emotion, x(start), height - 6, Math.max(24, x(end) - x(start)));
        }
        paint.globalAlpha = 1;
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
        ended();
        if (this.refusal) say(this.refusal, true);
        else if (this.#pieces.length) drop([new File(this.#wave(), "live.wav", { type: "audio/wav" })]);
    }

    /** The parts of a WAV file, cut to the longest duration that the server accepts. */
    #wave() {
        const most = 2 * Math.round(60 * live.dataset.minutes * this.rate);
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

function ended() {
    running = null;
    for (const element of [record, files, model().closest("fieldset"), emotions]) element.disabled = false;
    live.textContent = "Live";
    live.ariaPressed = "false";
    now.hidden = true;
}

live.addEventListener("click", async () => {
    if (running) {
        running.stop();
        return;
    }
    live.disabled = true;
    try {
        current.textContent = "…";
        current.style.setProperty("--emotion", "transparent");
        behind.textContent = "";
        own.disabled = !("adapts" in model().dataset);
        running = await Recording.begin();
        for (const element of [record, files, model().closest("fieldset"), emotions]) element.disabled = true;
        live.textContent = "Stop";
        live.ariaPressed = "true";
        now.hidden = false;
        say("Listening");
    } catch (error) {
        say(error instanceof DOMException ? NO_MICROPHONE : "The server does not accept a live recording now.", true);
    }
    live.disabled = false;
});
own.addEventListener("change", () => running?.say({ adapt: own.checked }));
forget.addEventListener("click", () => running?.say({ forget: true }));
