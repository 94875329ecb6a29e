"""HL7 v2: framing, reading, acknowledgements, listening and sending. It translates; what happens next is workflow's."""
