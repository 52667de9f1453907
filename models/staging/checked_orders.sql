{%- call perennial.touched() %}
    -- Which keys to do again.
    {{ perennial.keys_of_changed_hours('orders', 'order_id') }}
{%- endcall %}
{{ perennial.checked('orders', touched_by='order_id') }}
