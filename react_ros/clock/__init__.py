"""The frame clock and audio resampling: stamped images and sound in, frames at 25 Hz out."""
