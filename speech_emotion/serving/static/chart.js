/** Elements, words and colours, and the chart of an answer: the waveform and the emotions over time, and their means. */
import { settings } from "./settings.js";

// Chosen to differ for colour-blind people too, and to show on white and on black; opacity is probability.
const COLOURS = {
    neutral: "#5d5d5d", calm: "#5bbefc", happy: "#e9ac28", sad: "#2c65ae", angry: "#c00001", fearful: "#a56ffd",
    disgust: "#609b5c", surprised: "#f875ac",
};
const [WAVE, LANE, AXIS] = [56, 22, 24]; // heights in pixels
const MOST_MARKS = 8; // of the axis
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600]; // seconds between them
const FAINTEST = 0.03; // probability that is drawn
const NARROW = 0.008; // share of the width below which an outline would hide the opacity
const QUIETEST = 0.05; // peak that fills the height

/** The colour of an emotion; a label that is no emotion of RAVDESS gets one by its letters. */
export function colour(label) {
    const hue = [...label].reduce((sum, letter) => (31 * sum + letter.codePointAt()) % 360, 0);
    return COLOURS[label] ?? `hsl(${hue} 45% 55%)`;
}

export const percent = (share) => `${Math.round(100 * share)}\u202f%`;

/** m:ss, or h:mm:ss. */
export function clock(seconds) {
    const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
    const digits = [minutes, Math.floor(seconds) % 60].map((part) => String(part).padStart(2, "0")).join(":");
    return hours ? `${hours}:${digits}` : digits.replace(/^0/, "");
}

export function element(tag, properties = {}, ...children) {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
}

/** A dot in the colour of an emotion. */
export function dot(label) {
    const made = element("span", { className: "dot" });
    made.style.background = colour(label);
    return made;
}

export function ranked(row, labels) {
    return [...labels].sort((one, other) => row[other] - row[one]);
}

/** As eval.py: whether the confidence is low, or the second label is close. */
export function isUncertain(row, labels) {
    const [first, second] = ranked(row, labels).map((label) => row[label]);
    return first < settings.least_confidence || first - (second ?? 0) < settings.least_lead;
}

export const WHAT_IS_UNCERTAIN = `the first emotion has less than ${percent(settings.least_confidence)}, or is less than `
    + `${100 * settings.least_lead} points ahead of the second`;

/** "happy 56 %", or what an uncertain answer may be. */
export function inWords(row, labels, opening) {
    const order = ranked(row, labels).map((label) => `${label} ${percent(row[label])}`);
    return isUncertain(row, labels) ? `${opening}: ${order.slice(0, 3).join(", ")}` : order[0];
}

function drawn(tag, attributes, ...children) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
}

export class Chart {
    #lines;
    #playhead = drawn("line", { class: "playhead", x1: -9, x2: -9, y1: 0 });

    constructor(labels) {
        this.labels = labels;
        this.height = WAVE + LANE * labels.length + AXIS;
        this.#playhead.setAttribute("y2", this.height - AXIS);
        this.#lines = labels.map((label, i) => WAVE + LANE * i);
        this.time = drawn("svg", { class: "time", height: this.height, role: "img",
            "aria-label": "Waveform, and the probability of each emotion over time" });
        this.means = labels.map((label) => {
            const bar = element("progress", { value: 0 });
            bar.style.setProperty("--colour", colour(label));
            return [bar, element("span", { className: "number" })];
        });
        const names = labels.map((label) => element("span", {}, dot(label), element("bdi", { textContent: label })));
        const means = labels.map((label, i) =>
            element("li", {}, element("span", { className: "unseen", textContent: label }), ...this.means[i]));
        this.element = element("div", { className: "chart" }, element("div", { className: "names", ariaHidden: true }, ...names),
            this.time, element("ul", { className: "means" }, ...means));
    }

    /** Show the probabilities of a row beside the names; without a row, nothing. */
    show(row) {
        this.labels.forEach((label, i) => {
            const [bar, number] = this.means[i];
            bar.value = row ? Math.round(100 * row[label]) / 100 : 0;
            number.textContent = row ? percent(row[label]) : "";
            number.parentElement.classList.toggle("first", label === row?.emotion);
        });
    }

    /** Draw `stretches`, and `peaks` that begin at `begin`, from `from` to `to`, all in seconds. */
    draw({ stretches, peaks, begin = 0, from = 0, to }) {
        const share = (seconds) => Math.min(1, Math.max(0, (seconds - from) / (to - from)));
        const at = (seconds) => `${100 * share(seconds)}%`;
        const box = (start, end, attributes, ...children) =>
            drawn("rect", { x: at(start), width: `${100 * (share(end) - share(start))}%`, ...attributes }, ...children);
        const loudest = Math.max(QUIETEST, ...peaks);
        const outline = (sign) => peaks.map((peak, i) => `${i},${1 + sign * Math.max(0.01, peak / loudest)}`);
        const wave = drawn("svg", { x: at(begin), width: `${100 * (1 - share(begin))}%`, height: WAVE - 8, y: 2,
            viewBox: `0 0 ${Math.max(1, peaks.length - 1)} 2`, preserveAspectRatio: "none" },
            drawn("polygon", { class: "wave", points: [...outline(-1), ...outline(1).reverse()].join(" ") }));
        const lines = this.#lines.map((y) => drawn("line", { class: "line", x1: 0, x2: "100%", y1: y, y2: y }));
        const marks = [];
        const step = STEPS.find((seconds) => (to - from) / seconds <= MOST_MARKS) ?? STEPS.at(-1);
        for (let time = Math.ceil(Math.max(0, from) / step) * step; time <= to; time += step) {
            const anchor = share(time) < 0.04 ? "start" : share(time) > 0.94 ? "end" : "middle";
            marks.push(drawn("text", { class: "mark", x: at(time), y: this.height - 6, "text-anchor": anchor }, clock(time)));
        }
        const blocks = stretches.filter(({ end }) => end > from).flatMap((row) => {
            const { start, end, emotion } = row;
            const title = `${clock(start)} to ${clock(end)}: ${inWords(row, this.labels, "uncertain")}`;
            const lanes = this.labels.map((label, i) => box(start, end, {
                y: this.#lines[i] + 3, height: LANE - 5, rx: 2, fill: colour(label), "fill-opacity": row[label],
                stroke: label === emotion && share(end) - share(start) > NARROW ? colour(label) : "none",
            })).filter((_, i) => row[this.labels[i]] >= FAINTEST);
            return [...lanes, box(start, end, { class: "stretch", y: 0, height: this.height - AXIS }, drawn("title", {}, title))];
        });
        this.time.replaceChildren(wave, ...lines, ...marks, ...blocks, this.#playhead);
        this.timeAt = (event) => {
            const { left, width } = this.time.getBoundingClientRect();
            return from + ((event.clientX - left) / width) * (to - from);
        };
        this.move = (seconds) => {
            for (const end of ["x1", "x2"]) this.#playhead.setAttribute(end, at(seconds));
        };
    }
}
