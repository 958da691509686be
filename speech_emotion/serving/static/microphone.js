"use strict";
const PIECES = 10; // per second

/** Posts the sound in pieces of 100 ms: Float32Array, full scale at 1. */
class Microphone extends AudioWorkletProcessor {
    constructor() {
        super();
        this.piece = new Float32Array(Math.round(sampleRate / PIECES));
        this.filled = 0;
    }

    process([[samples]]) {
        for (const sample of samples ?? []) {
            this.piece[this.filled++] = sample;
            if (this.filled === this.piece.length) {
                this.port.postMessage(this.piece);
                this.filled = 0;
            }
        }
        return true;
    }
}
registerProcessor("microphone", Microphone);
