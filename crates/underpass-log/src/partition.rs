//! A partition as connections share it: its queue, its high watermark, those who wait.
