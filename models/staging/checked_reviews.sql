{{ perennial.checked('reviews') }}
