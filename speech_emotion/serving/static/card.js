/** The card of one answer: its headline, chart, player, downloads, and a table of its stretches. */
import { Chart, WHAT_IS_UNCERTAIN, clock, dot, element, inWords, isUncertain, percent, ranked } from "./chart.js";

const FILES = { // the texts of an answer, by the end of their names
    ".csv": "table (CSV)", "-timeline.csv": "timeline (CSV)", ".TextGrid": "Praat", ".srt": "SRT", ".vtt": "VTT", ".txt": "Audacity",
};

/** A link to a text; save(link, name, text, type) changes an existing one. */
export function save(link, name, text, type = "text/plain") {
    URL.revokeObjectURL(link.href);
    return Object.assign(link, { download: name, href: URL.createObjectURL(new Blob([text], { type })) });
}

/** A card for a row of an answer; `url` is the recording's sound. */
export function card(name, row, answer, waveform, url) {
    const { labels, length } = answer;
    const stretches = row.timeline;
    const several = stretches.length > 1;
    const chart = new Chart(labels);
    chart.draw({ stretches, peaks: waveform ?? [0], to: length });
    chart.show(row);
    const { audio, play } = player(url, chart);
    chart.time.addEventListener("click", (event) => {
        const time = chart.timeAt(event);
        const stretch = stretches.find(({ start, end }) => start <= time && time <= end);
        play(stretch?.start ?? time, stretch?.end);
    });
    const stem = name.replace(/\.[^.]*$/, "");
    const links = Object.entries(FILES).filter(([ending]) => ending in answer.texts).map(([ending, textContent]) =>
        save(element("a", { textContent }), stem + ending, answer.texts[ending]));
    const made = element("div", { className: "card" },
        element("h2", {}, dot(row.emotion), inWords(row, labels, several ? "mixed" : "uncertain")));
    if (isUncertain(row, labels)) {
        const begin = several ? "Mixed: over the whole recording, " : "Uncertain: ";
        made.append(element("p", { className: "note" }, `${begin}${WHAT_IS_UNCERTAIN}.`));
    }
    made.append(chart.element, element("p", { className: "note" }, several
        ? `The more opaque, the more probable. On the right: the mean of ${stretches.length} stretches of speech. A click plays a stretch.`
        : "The more opaque, the more probable. A click plays the part that was classified."));
    if (answer.channels_differ && !row.channel) {
        made.append(element("p", { className: "note" }, "Its channels differ. If they are different voices, classify each channel separately (Options)."));
    }
    made.append(audio, table(stretches, labels, play),
        element("p", { className: "downloads" }, "Download: ", ...links.flatMap((link, i) => (i ? [" · ", link] : [link]))));
    return made;
}

/** The player, which moves the playhead of the chart; play(start, end) plays a part. */
function player(url, chart) {
    const audio = element("audio", { controls: true, preload: "metadata", src: url });
    let until = Infinity;
    const follow = () => {
        chart.move(audio.currentTime);
        if (audio.currentTime >= until) audio.pause();
        if (!audio.paused) requestAnimationFrame(follow);
    };
    audio.addEventListener("loadedmetadata", () => {
        if (audio.duration !== Infinity) return; // browsers write recordings without their duration; this finds it
        audio.addEventListener("durationchange", () => { audio.currentTime = 0; }, { once: true });
        audio.currentTime = Number.MAX_SAFE_INTEGER;
    });
    audio.addEventListener("play", follow);
    audio.addEventListener("seeked", follow);
    audio.addEventListener("pause", () => { until = Infinity; });
    audio.addEventListener("error", () =>
        audio.replaceWith(element("p", { className: "note" }, "This browser cannot play this kind of file.")));
    return {
        audio,
        play(start, end = Infinity) {
            audio.currentTime = start;
            until = end;
            audio.play().catch(() => {}); // which "error" tells
        },
    };
}

function table(stretches, labels, play) {
    const rows = stretches.map((row) => {
        const { start, end, emotion, confidence } = row;
        const button = element("button", { textContent: `▶ ${clock(start)}–${clock(end)}`, ariaLabel: `Play ${clock(start)} to ${clock(end)}` });
        button.addEventListener("click", () => play(start, end));
        const next = ranked(row, labels)[1];
        return element("tr", {}, element("th", { scope: "row" }, button),
            element("td", {}, dot(emotion), emotion, isUncertain(row, labels) ? " (uncertain)" : ""),
            element("td", { textContent: percent(confidence) }),
            element("td", { textContent: `${next} ${percent(row[next])}` }));
    });
    const head = ["Time", "Emotion", "Probability", "Next"].map((textContent) => element("th", { scope: "col", textContent }));
    const plural = stretches.length > 1 ? "stretches" : "stretch";
    return element("details", { className: "stretches" },
        element("summary", { textContent: `Table of ${stretches.length} ${plural} of speech` }),
        element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows)));
}
