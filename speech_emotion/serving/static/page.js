"use strict";
const AT_ONCE = 3; // requests of one page
const FEWEST_TO_ADAPT = 5;
const NO_MICROPHONE =
    "There is no microphone, or this page may not use it: browsers allow it only on HTTPS pages and on localhost.";
const [emotions, record, files, summary, answers, adapt, why, channels, each, recording, time, level] =
    ["emotions", "record", "files", "summary", "answers", "adapt", "why", "channels", "each", "recording", "time", "level"]
        .map((id) => document.getElementById(id));
const model = () => document.querySelector("[name=model]:checked");
let dropped = []; // kept in the browser, so that another model can classify the same recordings
let stop = new AbortController();

const adapts = () => adapt.checked && !adapt.disabled;

function offerToAdapt() {
    if (!("adapts" in model().dataset)) why.textContent = `${model().value} cannot adapt`;
    else if (dropped.length < FEWEST_TO_ADAPT) why.textContent = `needs at least ${FEWEST_TO_ADAPT} recordings, dropped together`;
    else why.textContent = "";
    adapt.disabled = why.textContent !== "";
}

/** The ticked boxes of the model. */
const ticked = () => [...document.querySelectorAll("#emotions div:not([hidden]) :checked")];

/** Show the boxes of the model; the last two that are ticked cannot be unticked. */
function offerEmotions() {
    for (const group of emotions.children) group.hidden = "model" in group.dataset && group.dataset.model !== model().value;
    const boxes = ticked();
    for (const box of boxes) box.disabled = boxes.length === 2;
}

function say(sentence, isError = false) {
    summary.textContent = sentence;
    summary.classList.toggle("error", isError);
}

/** Send one request; returns {header, rows}. Retries while the server is full. Throws an Error with a sentence. */
async function ask(some, signal) {
    const form = new FormData();
    form.append("model", model().value);
    for (const box of ticked()) form.append("emotions", box.value);
    if (adapts()) form.append("adapt", "true");
    if (each.checked) form.append("channels", "each");
    for (const file of some) form.append("files", file, file.name);
    const headers = { Authorization: `Bearer ${document.getElementById("token").value}` };
    for (;;) {
        const response = await fetch("answers", { method: "POST", body: form, headers, signal });
        if (response.status === 503) {
            await new Promise((resolve) => setTimeout(resolve, 2000));
            continue;
        }
        const answer = await response.json().catch(() => ({ detail: response.statusText }));
        if (!response.ok) throw new Error(answer.detail);
        return answer;
    }
}

/** Classify all dropped recordings and show them in order; if one is refused, the others are not affected. */
async function listen() {
    stop.abort();
    stop = new AbortController();
    const { signal } = stop;
    const cards = dropped.map(() => Object.assign(document.createElement("div"), { className: "recording", hidden: true }));
    const lines = dropped.map(() => "");
    let [header, done, failed] = ["", 0, 0];
    answers.replaceChildren(...cards);
    const show = (i, row) => {
        lines[i] = row.csv ?? "";
        failed += Boolean(row.error);
        if (row.channels_differ) channels.hidden = false;
        if (row.html) cards[i].innerHTML = row.html;
        else cards[i].append(refusal(dropped[i].name, row.error));
        if (!row.error) cards[i].firstElementChild.append(player(dropped[i]));
        const stem = dropped[i].name.replace(/\.[^.]*$/, "");
        const tracks = Object.entries(row.tracks ?? {});
        if (tracks.length) {
            const line = paragraph("Downloads for Praat, as subtitles, and for Audacity: ");
            for (const [ending, text] of tracks) line.append(download(`${stem}${ending}`, text, "text/plain"), " ");
            cards[i].append(line);
        }
        cards[i].hidden = false;
        done += 1;
        say(`${done} of ${dropped.length} classified`);
    };
    say("Classifying");
    offerToAdapt();
    const fitting = [];
    dropped.forEach((file, i) => {
        if (file.size <= files.dataset.megabytes * 2 ** 20) fitting.push(i);
        else show(i, { error: `larger than ${files.dataset.megabytes} MB` });
    });
    const together = adapts() && fitting.length > 0;
    const waiting = (together ? [fitting] : fitting.map((i) => [i])).values();
    await Promise.all(Array.from({ length: AT_ONCE }, async () => {
        for (const some of waiting) {
            try {
                const answer = await ask(some.map((i) => dropped[i]), signal);
                header = answer.header;
                some.forEach((i, n) => show(i, answer.rows[n]));
            } catch (error) {
                if (signal.aborted) return;
                const sentence = error instanceof TypeError ? "the server does not respond" : error.message;
                some.forEach((i) => show(i, { error: sentence }));
            }
        }
    }));
    if (signal.aborted) return;
    const without = failed ? `, ${failed} without an emotion` : "";
    say(`${dropped.length} recording${dropped.length > 1 ? "s" : ""}${without}. `);
    const table = download("out.csv", [header, ...lines].join(""), "text/csv");
    summary.append(Object.assign(table, { textContent: "Download the table (out.csv)" }));
}

function paragraph(textContent, className = "") {
    return Object.assign(document.createElement("p"), { textContent, className });
}

/** A sentence about a file, whose name may hold marks that turn the text around. */
function refusal(name, sentence) {
    const line = paragraph(`: ${sentence}`, "error");
    line.prepend(Object.assign(document.createElement("bdi"), { textContent: name }));
    return line;
}

function download(name, text, type) {
    const href = URL.createObjectURL(new Blob([text], { type }));
    return Object.assign(document.createElement("a"), { download: name, href, textContent: name });
}

function player(file) {
    return Object.assign(document.createElement("audio"), { controls: true, preload: "none", src: URL.createObjectURL(file) });
}

function drop(some) {
    if (!some.length) return;
    dropped = [...some];
    channels.hidden = true; // until an answer says that the channels differ
    each.checked = false;
    listen();
}

files.addEventListener("change", () => {
    drop(files.files);
    files.value = ""; // so that the same file can be chosen again
});
for (const name of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(name, (event) => {
        event.preventDefault();
        document.body.classList.toggle("over", name === "dragover");
        if (name === "drop") drop(event.dataTransfer.files);
    });
}
for (const choice of document.querySelectorAll("[name=model], #emotions input, #adapt, #each")) {
    choice.addEventListener("change", () => {
        offerEmotions();
        offerToAdapt();
        if (dropped.length) listen();
    });
}
offerEmotions();
offerToAdapt();

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
        level.value = 1 + Math.log10(peak) / 3; // from -60 dB to full scale
        const seconds = Math.floor((performance.now() - began) / 1000);
        time.textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
    };
    const timer = setInterval(show, 100);
    show();
    recording.hidden = false;
    return () => {
        clearInterval(timer);
        context.close();
        recording.hidden = true;
    };
}

/** The microphone without the processing of browsers for calls, which would change the voice. */
function microphone() {
    const audio = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    if (!navigator.mediaDevices) throw new DOMException(NO_MICROPHONE);
    return navigator.mediaDevices.getUserMedia({ audio });
}

let recorder = null;
record.addEventListener("click", async () => {
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
            record.textContent = "Record";
            record.ariaPressed = "false";
            drop([new File(parts, `recording.${mimeType.match(/\w+\/(\w+)/)[1]}`, { type: mimeType })]);
        });
        recorder.start();
        record.textContent = "Stop";
        record.ariaPressed = "true";
    } catch {
        say(NO_MICROPHONE, true);
    }
});
