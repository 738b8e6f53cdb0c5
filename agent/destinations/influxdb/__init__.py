"""Readings and alarms into InfluxDB 2, InfluxDB 3 or VictoriaMetrics by the v2 write API."""
