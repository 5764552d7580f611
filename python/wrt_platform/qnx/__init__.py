"""What QNX alone offers; on Linux, over a simulated kernel."""
