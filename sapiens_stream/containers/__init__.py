"""Files of media, for who reads them and who writes them: how they are opened, and what lies where in them."""
