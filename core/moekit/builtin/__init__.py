"""What moekit itself provides, as an ordinary plugin: gates, the folder loader, common metrics."""
