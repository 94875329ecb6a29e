"""SMART App Launch 2.2, the app's side: discovery, authorisation, identity, launch context, signed links."""
