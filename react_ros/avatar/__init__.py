"""The avatar: reactions become a face that moves, is drawn, filmed and shown."""
