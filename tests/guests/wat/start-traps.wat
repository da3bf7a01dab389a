(module (func $trap unreachable) (start $trap))
