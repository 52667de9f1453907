{{ perennial.checked('campaigns') }}
