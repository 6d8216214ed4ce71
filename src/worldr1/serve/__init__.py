"""The reward over HTTP: `app` builds the service, `client` asks it; needs `pip install "worldr1[serve]"`."""
