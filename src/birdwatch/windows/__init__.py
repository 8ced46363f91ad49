"""Event time: panes, watermark, join by request, store."""
