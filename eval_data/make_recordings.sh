#!/bin/sh
# Makes the recordings in this folder with espeak-ng and sox (Debian: espeak-ng, sox, libsox-fmt-all).
# A synthesiser feels nothing: these files show that eval.py reads them, not that it is right about them.
set -eu
cd "$(dirname "$0")"

# say FILE VOICE PITCH SPEED RATE CHANNELS TEXT: half a second of silence, the voice, half a second of silence.
say() {
    espeak-ng -v "$2" -p "$3" -s "$4" --stdout "$7" |
        sox -R -t wav - -r "$5" -c "$6" "$1" norm -3 pad 0.5 0.5
}

say slow_low_male.wav          en-gb+m3 15 110 16000 1 "Dogs are sitting by the door."
say fast_high_female.wav       en-us+f3 85 230 48000 2 "Kids are talking by the door!"
say even_male.flac             en-us+m1 45 160 44100 1 "The train to the airport leaves in ten minutes."
say lively_female.flac         en-gb+f2 75 190 48000 1 "You will never guess who called me today!"
say whisper.ogg                en+whisper 30 130 22050 1 "Please be quiet, the baby is asleep."
say deep_german.ogg            de+m5    10 140 44100 2 "Die Tür bleibt heute leider geschlossen."
say bright_french.mp3          fr+f4    90 200 44100 2 "Quelle bonne surprise de te voir ici !"
say flat_spanish.mp3           es+m2    40 150 22050 1 "No sé dónde he dejado las llaves."
