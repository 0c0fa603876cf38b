/* Assembler sources have CUs too: gas describes functions by their labels alone. */
	.text
	.globl	asm_function
	.type	asm_function, %function
asm_function:
	nop
	.size	asm_function, .-asm_function

	.globl	asm_other
	.type	asm_other, %function
asm_other:
	nop
	.size	asm_other, .-asm_other
