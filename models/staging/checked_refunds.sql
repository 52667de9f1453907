{%- call perennial.touched() %}
    -- Which keys to do again.
    {{ perennial.keys_of_changed_hours('refunds', 'refund_id') }}
    -- Refunds of an order that is not there are refused until it comes.
    union
    select refund_id
    from {{ this }}
    where order_id in ({{ perennial.changes('checked_orders', 'order_id') }})
{%- endcall %}
{{ perennial.checked('refunds', touched_by='refund_id') }}
