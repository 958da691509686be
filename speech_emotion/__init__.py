"""Speech emotion recognition on RAVDESS: MFCC, a CNN, and an honest evaluation."""
