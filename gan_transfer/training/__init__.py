"""One step, the loop, checkpoints, telemetry, hardware."""
