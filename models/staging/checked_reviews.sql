{%- call perennial.touched() %}
    -- Which keys to do again.
    {{ perennial.keys_of_changed_hours('reviews', 'review_id') }}
{%- endcall %}
{{ perennial.checked('reviews', touched_by='review_id') }}
