"""What a figure is: AP, accuracy, their intervals, and the comparison of two runs."""
