{%- call perennial.touched() %}
    -- Which keys to do again.
    {{ perennial.keys_of_changed_hours('order_items', 'order_id') }}
    -- Lines without an order are refused until it comes.
    union
    {{ perennial.changes('checked_orders', 'order_id') }}
{%- endcall %}
{{ perennial.checked('order_items', touched_by='order_id') }}
