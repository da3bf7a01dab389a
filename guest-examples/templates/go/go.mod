module connector

go 1.25

require (
	go.bytecodealliance.org/pkg v0.2.2
	wit_component v0.0.0
)

// `jackfield build` writes the bindings of the contract.
replace (
	go.bytecodealliance.org/pkg => ./.build/bindings/pkg
	wit_component => ./.build/bindings
)
