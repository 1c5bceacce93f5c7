"""Steps and seconds that training takes to reach a return, compared with peers."""
