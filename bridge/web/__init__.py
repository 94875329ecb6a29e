"""The HTTP side: launch, FHIR API, console, viewer, health."""
