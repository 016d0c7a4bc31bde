name = "ssdlite_fbnet_c"
