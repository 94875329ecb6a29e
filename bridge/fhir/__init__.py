"""FHIR R4: translates and delivers, decides nothing. The only importer of requests and fhir.resources."""
