module alphabet.example

go 1.26
