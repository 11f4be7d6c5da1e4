"""What runs unattended: the jobs, when they are due, and who is told how they went."""
