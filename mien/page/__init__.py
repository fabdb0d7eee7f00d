"""The page that recognises faces in the browser, in plain JavaScript, and how it is written as a folder."""
