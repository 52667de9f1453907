{{ perennial.checked('exchange_rates') }}
