"""What goes over the wire: bodies, routes, who may ask."""
