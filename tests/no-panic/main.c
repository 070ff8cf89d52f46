/* The outside of the probe. It is linked and not run. */
#include <stdint.h>

volatile uint64_t outside;

uint64_t unknown(void) { return outside; }

void seen(uint64_t value) { outside = value; }

void probe(void);

int main(void) { probe(); return 0; }
