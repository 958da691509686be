/** The list of recordings: what is sent, what is answered, what is corrected. */
import { card, save } from "./card.js";
import { clock, colour, dot, element, isUncertain, percent } from "./chart.js";
import { settings, ui } from "./settings.js";

const AT_ONCE = 3; // requests of one page
const FEWEST_TO_ADAPT = 5;
const POLL_MS = 400;
const PATIENCE_MS = 3000; // for a browser to find out how long a recording is
const OTHER = "another word …";
const recordings = []; // kept in the browser, so that another model can classify the same ones
const words = new Set(); // of the user, in corrections
let queue = []; // lists of recordings, each for one request
let jobs = new Set(); // requests on their way
let stop = new AbortController();
let teachingNow = false;

/** A recording in the list, with its rows in the table: one, or one for each channel, each with its card below it. */
class Recording {
    correction = "";
    bodies = [];

    constructor(file, isOpen) {
        Object.assign(this, { file, isOpen, name: file.name, url: URL.createObjectURL(file) });
        this.wait();
    }

    /** Forget the answer, and show that the recording waits for another. */
    wait() {
        Object.assign(this, { answer: null, error: "", mayRetry: false });
        this.state = element("td", { colSpan: 3, className: "note", textContent: "waiting" });
        if (this.bodies.length) for (const body of this.bodies) body.className = "old";
        else this.#show(element("tbody", {}, element("tr", {}, this.#name(), this.state, this.#last())));
    }

    refuse(error, mayRetry = false) {
        Object.assign(this, { error, mayRetry });
        this.#show(element("tbody", {}, element("tr", {},
            this.#name(), element("td", { colSpan: 3, className: "error", textContent: error }), this.#last())));
    }

    accept(answer) {
        this.answer = answer;
        const errors = answer.rows.filter(({ error }) => error);
        if (errors.length === answer.rows.length) this.refuse(errors[0].error);
        else this.#show(...answer.rows.map((row, i) => this.#body(row, answer.waveforms[i])));
    }

    remove() {
        for (const body of this.bodies) body.remove();
        URL.revokeObjectURL(this.url);
        recordings.splice(recordings.indexOf(this), 1);
        refresh();
    }

    /** The labels that the menu for a correction offers, after its first entry. */
    offer() {
        const labels = [...model().labels, ...words].filter((label, i, all) => all.indexOf(label) === i);
        this.menu?.replaceChildren(...["", ...labels, OTHER].map((value) =>
            element("option", { value, textContent: value || "correct …", selected: value === this.correction })));
    }

    #show(...bodies) {
        if (this.bodies.length) this.bodies[0].before(...bodies);
        else ui.answers.append(...bodies);
        for (const body of this.bodies) body.remove();
        this.bodies = bodies;
    }

    #name(...children) {
        return element("th", { scope: "row" }, ...children.length ? children : [element("bdi", { textContent: this.name })]);
    }

    #last(...children) {
        const button = element("button", { className: "remove", textContent: "×", ariaLabel: `Remove ${this.name}`, title: "Remove" });
        button.addEventListener("click", () => this.remove());
        return element("td", { className: "last" }, ...children, button);
    }

    #body(row, waveform) {
        const name = row.channel ? `${this.name}, channel ${row.channel}` : this.name;
        if (row.error) {
            return element("tbody", {}, element("tr", {}, this.#name(element("bdi", { textContent: name })),
                element("td", { colSpan: 3, className: "error", textContent: row.error }), this.#last()));
        }
        const { labels, length } = this.answer;
        const place = element("td", { colSpan: 5 });
        const below = element("tr", { hidden: true }, place);
        const button = element("button", { className: "name" }, element("bdi", { textContent: name }));
        const open = (isOpen) => {
            if (isOpen && !place.firstChild) place.append(card(this.name, row, this.answer, waveform, this.url));
            if (!isOpen) place.querySelector("audio")?.pause();
            below.hidden = !isOpen;
            button.ariaExpanded = String(isOpen);
            this.isOpen = isOpen;
        };
        this.open = open;
        button.addEventListener("click", () => open(below.hidden));
        const bar = element("progress", { value: row.confidence, ariaLabel: row.emotion });
        bar.style.setProperty("--colour", colour(row.emotion));
        const unsure = isUncertain(row, labels) ? element("small", { textContent: row.timeline.length > 1 ? " mixed" : " uncertain" }) : "";
        const [emotion, number] = [row.emotion, percent(row.confidence)];
        const shown = element("tr", {}, this.#name(button), element("td", { className: "length", textContent: clock(length) }),
            element("td", { className: "emotion" }, dot(emotion), emotion, unsure),
            element("td", { className: "sure" }, bar, element("span", { className: "number", textContent: number })),
            this.#last(...this.answer.rows.length === 1 ? [this.#correct()] : []));
        open(this.isOpen);
        return element("tbody", {}, shown, below);
    }

    #correct() {
        this.menu = element("select", { ariaLabel: `Correct emotion of ${this.name}` });
        this.menu.addEventListener("change", () => {
            let chosen = this.menu.value;
            if (chosen === OTHER) chosen = prompt("Which emotion is it? Any word; Teach needs two recordings of each.")?.trim() ?? "";
            this.correction = chosen;
            if (chosen) words.add(chosen);
            refresh();
        });
        this.offer();
        return this.menu;
    }
}

export const model = () => settings.models.find(({ name }) => name === document.querySelector("[name=model]:checked").value);
const boxes = () => [...ui.emotions.querySelectorAll("div:not([hidden]) :checked")];
export const ticked = () => boxes().map((box) => box.value);
const adapts = () => ui.adapt.checked && !ui.adapt.disabled;
const headers = () => ({ Authorization: `Bearer ${ui.token.value}` });
const plural = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;
const isDone = ({ answer, error }) => Boolean(answer || error);
const sentenceOf = (error) => (error instanceof TypeError ? "the server does not respond" : error.message);

export function say(sentence, isError = false) {
    ui.summary.textContent = sentence;
    ui.summary.classList.toggle("error", isError);
}

/** Offer a model and its emotions; returns its button. */
function offerModel({ name, title, labels, answered, base }) {
    const radio = element("input", { type: "radio", name: "model", value: name });
    ui.models.append(element("label", {}, radio, ` ${title} `, base ? "" : element("code", { textContent: name })));
    const group = element("div", {}, ...labels.map((label) => element("label", {},
        element("input", { type: "checkbox", value: label, checked: answered.includes(label) }), " ", element("bdi", { textContent: label }))));
    group.dataset.model = name;
    ui.emotions.append(group);
    return radio;
}

/** Show what follows from the options and the recordings. */
function refresh() {
    offerOptions();
    offerCorrections();
    const failed = recordings.filter(({ answer, error }) => error || !answer).length;
    const done = recordings.filter(isDone).length;
    const isBusy = jobs.size > 0;
    ui.busy.hidden = !isBusy;
    if (isBusy) say(`Classifying: ${done} of ${recordings.length} done`);
    else if (recordings.length) say(`${plural(recordings.length, "recording")}${failed ? `, ${failed} without an emotion` : ""}.`);
    showShare();
    ui.answers.hidden = ui.actions.hidden = !recordings.length;
    ui.answers.classList.toggle("one", recordings.length === 1 && recordings[0].bodies.length === 1);
    ui.again.hidden = isBusy || !recordings.some(({ mayRetry }) => mayRetry);
    const texts = recordings.map(({ answer }) => answer?.texts[".csv"]).filter(Boolean);
    ui.table.hidden = isBusy || !texts.length;
    const [head] = texts[0]?.match(/^.*\r\n/) ?? [""];
    save(ui.table, "out.csv", head + texts.map((text) => text.slice(head.length)).join(""), "text/csv");
}

function showShare() {
    const parts = [...jobs].map(({ some, share }) => share * some.length);
    ui.share.max = Math.max(1, recordings.length);
    ui.share.value = recordings.filter(isDone).length + parts.reduce((sum, part) => sum + part, 0);
}

/** Show the emotions of the model, of which the last two that are ticked cannot be unticked, and what can be adapted to. */
function offerOptions() {
    const { name, title, labels, adapts: canAdapt } = model();
    for (const group of ui.emotions.querySelectorAll("div")) group.hidden = group.dataset.model !== name;
    for (const box of boxes()) box.disabled = boxes().length === 2;
    const lacks = recordings.length < FEWEST_TO_ADAPT ? `needs at least ${FEWEST_TO_ADAPT} recordings` : "";
    ui.why.textContent = canAdapt ? lacks : `${title} cannot adapt`;
    ui.adapt.disabled = ui.why.textContent !== "";
    const some = boxes().length === labels.length ? "all emotions" : ticked().join(", ");
    ui.chosen.textContent = [title, some, adapts() ? "adapted" : "", ui.each.checked ? "each channel" : ""].filter(Boolean).join("; ");
    for (const recording of recordings) recording.offer();
}

/** Offer to download the corrections, and to teach with them if they suffice. */
function offerCorrections() {
    const corrected = recordings.filter(({ correction, answer }) => correction && answer);
    const labels = corrected.map(({ correction }) => correction);
    const single = labels.filter((label) => labels.indexOf(label) === labels.lastIndexOf(label));
    ui.teaching.hidden = !corrected.length && !ui.taught.firstChild;
    ui.corrected.textContent = `${plural(corrected.length, "correction")}: `;
    let missing = "";
    if (!model().adapts) missing = `${model().title} cannot be taught; choose another model under Options`;
    else if (new Set(labels).size < 2) missing = "needs corrections to at least two emotions; confirm correct answers, too";
    else if (single.length) missing = `needs a second recording of ${single.join(", ")}`;
    ui.teach.disabled = missing !== "" || teachingNow;
    ui.missing.textContent = missing || "moves the model towards them, in seconds";
    const cell = (text) => `"${text.replace(/^[\s'"]*[=+\-@\uff1d\uff0b\uff0d\uff20]/, "'$&").replaceAll('"', '""')}"`;
    const lines = corrected.map(({ name, correction }) => `${cell(name)},${cell(correction)}\r\n`);
    save(ui.corrections, "corrections.csv", `path,emotion\r\n${lines.join("")}`, "text/csv");
    return corrected;
}

/** Add recordings to the list; one alone is shown with its card open, several with theirs closed. */
export function add(files) {
    if (!files.length) return;
    for (const recording of recordings) recording.open?.(false);
    const added = [...files].map((file) => new Recording(file, files.length === 1));
    recordings.push(...added);
    offerOptions();
    if (adapts()) classifyAll();
    else classify(added);
}

function classifyAll() {
    abort();
    for (const recording of recordings) recording.wait();
    classify(recordings);
}

function abort() {
    stop.abort();
    stop = new AbortController();
    [queue, jobs] = [[], new Set()];
}

/** Classify each recording in a request of its own, or all together to adapt to them. */
function classify(some) {
    queue.push(...adapts() ? [[...some]] : some.map((recording) => [recording]));
    while (queue.length && jobs.size < AT_ONCE) work(stop.signal);
    refresh();
}

/** Answer requests of the queue, one after the other; a recording that is refused does not affect the others. */
async function work(signal) {
    const job = { name: crypto.getRandomValues(new Uint32Array(4)).join("-"), some: [], share: 0 };
    jobs.add(job);
    while (queue.length) {
        job.some = queue.shift();
        await answer(job, signal);
        if (signal.aborted) return;
        refresh();
    }
    jobs.delete(job);
    refresh();
}

async function answer(job, signal) {
    for (const recording of job.some) {
        const refusal = await unfit(recording.file);
        if (signal.aborted) return;
        if (refusal) recording.refuse(refusal);
    }
    job.some = job.some.filter((recording) => !recording.error && recordings.includes(recording));
    if (!job.some.length) return;
    const form = new FormData();
    form.append("model", model().name);
    for (const label of ticked()) form.append("emotions", label);
    if (adapts()) form.append("adapt", "true");
    if (ui.each.checked) form.append("channels", "each");
    for (const { file, name } of job.some) form.append("files", file, name);
    try {
        const replies = await send(`answers?progress=${job.name}`, form, signal);
        job.some.forEach((recording, i) => recording.accept(replies[i]));
    } catch (error) {
        if (signal.aborted) return;
        for (const recording of job.some) recording.refuse(sentenceOf(error), error instanceof TypeError || error.status === 401);
    }
}

/** Why a file is too large or too long, before it is sent. */
async function unfit(file) {
    const { megabytes, minutes } = settings;
    if (file.size > megabytes * 2 ** 20) return `larger than ${megabytes} MB; the server's option --max-mb changes that`;
    const sound = new Audio(URL.createObjectURL(file));
    await new Promise((resolve) => {
        for (const event of ["loadedmetadata", "error"]) sound.addEventListener(event, resolve);
        setTimeout(resolve, PATIENCE_MS);
    });
    URL.revokeObjectURL(sound.src);
    const isTooLong = Number.isFinite(sound.duration) && sound.duration > 60 * minutes;
    return isTooLong ? `${clock(sound.duration)} is longer than ${minutes} minutes; the server's option --max-minutes changes that` : "";
}

/** Send a form; returns the JSON. Retries while the server is full. Throws an Error with a sentence. */
async function send(path, body, signal) {
    for (;;) {
        const response = await fetch(path, { method: "POST", body, headers: headers(), signal });
        if (response.status === 503) {
            await new Promise((resolve) => setTimeout(resolve, 2000));
            continue;
        }
        const content = await response.json().catch(() => ({ detail: response.statusText }));
        if (!response.ok) throw Object.assign(new Error(content.detail), { status: response.status });
        return content;
    }
}

setInterval(async () => {
    for (const job of jobs) {
        const response = await fetch(`progress?name=${job.name}`, { headers: headers() }).catch(() => null);
        const share = response?.ok ? await response.json() : null;
        job.share = share ?? 0;
        for (const { state } of job.some) state.textContent = share === null ? "sending" : share ? percent(share) : "reading";
    }
    if (jobs.size) showShare();
}, POLL_MS);

/** Move the model towards the corrections; the new one is offered until this page is closed. */
async function teach() {
    const corrected = offerCorrections();
    const { name, base = name } = model();
    const form = new FormData();
    form.append("model", base);
    for (const { correction } of corrected) form.append("emotions", correction);
    for (const recording of corrected) form.append("files", recording.file, recording.name);
    teachingNow = true;
    refresh();
    ui.taught.replaceChildren(`Teaching with ${plural(corrected.length, "recording")} …`);
    try {
        const { model: taught, labels, report } = await send("teach", form);
        const title = `taught with ${plural(corrected.length, "recording")} at ${timeOfDay()}`;
        const file = await (await fetch(`teach/${taught}`, { headers: headers() })).blob();
        settings.models.push({ name: taught, title, labels, answered: labels, adapts: true, base });
        offerModel(settings.models.at(-1)).checked = true;
        ui.taught.replaceChildren(
            element("p", {}, report.match(/^Teaching .*$/m)?.[0] ?? "The model was taught new labels.",
                " It is used until this page is closed. Judge it by other recordings, because it was trained on these. ",
                save(element("a", { textContent: "Download taught.pt" }), "taught.pt", file)),
            element("details", {}, element("summary", { textContent: "How accurate is it on recordings that were held out?" }),
                element("pre", { textContent: report })));
    } catch (error) {
        ui.taught.replaceChildren(element("p", { className: "error", textContent: sentenceOf(error) }));
    }
    teachingNow = false;
    if (model().base) classifyAll();
    refresh();
}

export const timeOfDay = () => new Date().toTimeString().slice(0, 8).replaceAll(":", ".");

for (const offered of settings.models) offerModel(offered);
document.querySelector("[name=model]").checked = true;
ui.locked.hidden = !settings.needs_token;
ui.limits.textContent = `up to ${settings.megabytes} MB and ${settings.minutes} minutes each`;
ui.files.addEventListener("change", () => {
    add(ui.files.files);
    ui.files.value = ""; // so that the same file can be chosen again
});
for (const name of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(name, (event) => {
        event.preventDefault();
        document.body.classList.toggle("over", name === "dragover");
        if (name === "drop") add(event.dataTransfer.files);
    });
}
ui.options.addEventListener("change", classifyAll);
ui.again.addEventListener("click", () => {
    const some = recordings.filter(({ mayRetry }) => mayRetry);
    for (const recording of some) recording.wait();
    classify(some);
});
ui.cancel.addEventListener("click", () => {
    abort();
    for (const recording of recordings) if (!isDone(recording)) recording.refuse("cancelled", true);
    refresh();
});
ui.clear.addEventListener("click", () => {
    abort();
    while (recordings.length) recordings[0].remove();
    say("");
});
ui.teach.addEventListener("click", teach);
addEventListener("pagehide", () => {
    for (const { name, base } of settings.models) if (base) fetch(`teach/${name}`, { method: "DELETE", headers: headers(), keepalive: true });
});
offerOptions();
