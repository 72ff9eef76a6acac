"""samwire's clients: the Python one (`client_demo.client`), a load test, and the browser's."""
