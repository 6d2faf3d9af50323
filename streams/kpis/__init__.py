"""Live KPIs: windowed figures over the log, for dashboards. A pure fold (`fold`, `partition`) with Faust around it."""
