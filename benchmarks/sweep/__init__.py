"""How much of published networks can be removed by channels, whether parity holds, and what it costs."""
