name = "ssdlite_rexnet_x1.0"
