module checkout.example

go 1.21
