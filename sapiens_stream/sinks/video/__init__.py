"""The overlay video: encoding, its file, and what goes with the pictures: sound, subtitles, times, colour."""
