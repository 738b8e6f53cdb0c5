"""The bundled simulator: plants, instruments and the receiving end."""
