"""The avatar: reactions to a face that moves and is drawn, and a live page that shows it."""
