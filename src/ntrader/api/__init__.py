"""The service over HTTP; needs the extra `server`."""
